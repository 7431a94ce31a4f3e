"""Talk with a recipe's trained model: `python scripts/chat.py --config <recipe>`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("chat")
