"""The application: settings, wiring, processes and the command line. It may import all."""

__version__ = "0.1.0"
