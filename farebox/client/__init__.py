"""The SDK: meters calls that an app sends to its providers by itself. `farebox` gives its names out at first use."""
