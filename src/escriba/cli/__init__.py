"""The command line: it parses, calls the library, prints; it knows nothing that the library does not offer."""
