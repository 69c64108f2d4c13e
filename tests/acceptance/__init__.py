"""What a customer would try on a running cluster. A package, so that its fixtures can end with its last test."""
