"""The arguments of each command, one module a command. Nothing heavy is imported."""
