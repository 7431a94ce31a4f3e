"""`python -m alignment.cli`, the same as `alignment`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main()
