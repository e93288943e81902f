"""Published Parameter Golf systems, each as published and as a compliant twin."""

import os

# Must be set before torch loads. Threads that spin while they wait for one another make small
# models ten times slower as soon as another process wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
