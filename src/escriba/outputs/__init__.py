"""What people look at; it knows nothing of how results came to be."""
