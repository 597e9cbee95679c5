"""Plain Python as a front end: lanes, in which ordinary code waits for models while other code goes on."""
