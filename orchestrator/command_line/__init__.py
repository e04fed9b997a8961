"""The command line for daily work: it asks the REST API, as any other program would."""
