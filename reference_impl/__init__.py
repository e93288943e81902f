"""Published Parameter Golf systems, each as published and as a compliant twin."""
