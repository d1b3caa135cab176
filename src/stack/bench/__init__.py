"""Measures how fast a deployment is, as ratios that hold on any machine."""
