"""The offline ``perdure`` command line: it looks at files, never at a running server.

A tool changes nothing that it was not told to change (HANDS-OFF).
"""
