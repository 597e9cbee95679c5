"""What a program's capabilities call: Python functions, commands, and servers of the Model Context Protocol."""
