"""YOLOv8 for n6convert."""
