"""Evidence without executing anything."""

from auditor.errors import CannotMeasure
from auditor.evidence import (
    ByteTables,
    CalibrationData,
    ClaimedNumbers,
    DataFlow,
    Evidence,
    LearningOrder,
    ShiftGates,
)
from auditor.inspect.byte_table import read_byte_tables
from auditor.inspect.calibration import read_calibration
from auditor.inspect.claims import read_claims
from auditor.inspect.dataflow import read_data_flow
from auditor.inspect.logs import read_logs
from auditor.inspect.order.learning import read_learning_order
from auditor.inspect.program import read_program
from auditor.inspect.shard_aliases import read_shard_aliases
from auditor.inspect.shift_gates import read_shift_gates
from auditor.inspect.shipped import read_package, recount
from auditor.inspect.target_gates import read_target_gates
from auditor.submission import Submission


def inspect(submission: Submission) -> Evidence:
    """Everything that can be known by reading; what could not be read keeps its reason."""
    evidence = Evidence()
    logged = read_logs(submission)
    evidence.add(read_package(submission), recount(submission), logged)
    evidence.add(read_shard_aliases(submission))
    try:
        evidence.add(read_claims(submission))
    except CannotMeasure as reason:
        evidence.cannot(str(reason), ClaimedNumbers)
    try:
        program = read_program(submission, logged)
    except CannotMeasure as reason:
        missing = ByteTables, CalibrationData, DataFlow, LearningOrder, ShiftGates
        evidence.cannot(str(reason), *missing)
        evidence.add(read_target_gates(submission))
        return evidence
    evidence.add(read_target_gates(submission, program.modules))
    evidence.add(read_byte_tables(program), read_calibration(program), read_shift_gates(program))
    for kind, read in ((DataFlow, read_data_flow), (LearningOrder, read_learning_order)):
        try:
            evidence.add(read(program))
        except CannotMeasure as reason:
            evidence.cannot(str(reason), kind)
    return evidence
