"""Evidence by executing the submission's own code in a sandbox.

workspace lays out a tiny world -> sandbox runs the script under the recorder -> record checks its
events -> align and timeline say which positions were touched when -> experiments measure.
"""
