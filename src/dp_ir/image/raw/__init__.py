"""Sensor data: RAW files, cameras, bursts and their synthetic likes."""
