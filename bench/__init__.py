"""How fast Farebox is, measured beside nginx and beside its peers. Run `make bench` or `make bench-peers`."""
