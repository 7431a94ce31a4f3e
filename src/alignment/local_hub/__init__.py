"""A Hugging Face Hub on this machine, over real HTTP: what rehearsals and tests push to and download from."""

from alignment.local_hub.server import HubServer

__all__ = ["HubServer"]
