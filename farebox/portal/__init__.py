"""What a customer may see of its own usage: counted in units, calls, tokens and shares, never in money.

API and pages answer from here, so that there is one place that decides what leaves the house.
"""
