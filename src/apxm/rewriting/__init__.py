"""The body of a function as lanes run it: the user's own statements, with the waits for turns put in.

Everything keeps its line and column, so that tracebacks, debuggers and coverage see what the user wrote. What is put in
begins with `PREFIX`, which no name of the user's may.
"""
