"""The same load through other gateways, each installed into an environment that is thrown away afterwards.

A peer is one file with `NAME`, `install` and `serving`, and one line in `__main__.PEERS`.
"""
