"""One family of exercises a file: texts, and the answers that are right."""
