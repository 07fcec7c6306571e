"""The demonstration: simulated providers, a simulated SaaS, its history and its traffic. No network, no key."""
