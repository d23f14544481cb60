"""What runs the networks: device and precision, engines, export, and the memory there is."""
