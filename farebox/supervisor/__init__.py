"""`farebox serve` itself: it listens, starts the processes, restarts a dead one, and drains on SIGTERM.

It handles no call: while it lives, listening sockets survive any worker, so that a queued connection waits for the
worker's successor instead of being reset.
"""
