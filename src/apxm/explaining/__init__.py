"""What lanes would do with ordinary code, told before anything of it runs.

It reads what the rewriting makes of a function, so what it says of a line is what lanes do there.
"""
