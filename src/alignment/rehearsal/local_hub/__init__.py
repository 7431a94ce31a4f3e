"""A Hugging Face Hub on this machine, over real HTTP: what rehearsals and tests push to and download from."""

from alignment.rehearsal.local_hub.server import HubServer

__all__ = ["HubServer"]
