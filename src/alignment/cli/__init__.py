"""The command line: `alignment <command> RECIPE [--key value ...]`, one file a command."""
