"""What models of event logs are made of: the members that learn, what they learn from, and how they are tried."""
