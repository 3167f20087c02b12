"""The command line: `app` puts the commands together; each module holds one word's commands."""
