"""The pure floor: no await, no clock, no I/O, no logging. Time and ids are arguments."""
