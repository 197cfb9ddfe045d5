"""The decision, pure: values in, values out. No file, socket, clock or chance in here."""
