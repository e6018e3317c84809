"""What each command of the command line takes, one module a command. Nothing heavy is imported."""
