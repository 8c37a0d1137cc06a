"""The one exception for input that a person can mend: the command line prints it and exits with code 2."""


class InputError(ValueError):
    """Bad input: the message names the file, key or value at fault and, where there are some, the choices."""
