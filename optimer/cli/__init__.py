"""The command line. `app` puts the commands together; each module holds the commands of one word."""
