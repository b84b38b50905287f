"""The files of one deployment, as text: what to run, what it costs, what was verified, and the graph."""

import json
from typing import Any

from models.evaluate import evaluate
from models.instance import Instance
from models.strategy import Plan
from optimizer.export.dag import deployment_dag, to_dot
from optimizer.export.figures import describe_plan, summarize
from optimizer.export.report import Documents, render_report
from optimizer.export.verification import Facts, check_export, conclude, find_misfit, find_violations, report_verification

__all__ = ["FILES", "Facts", "deployment_files"]

FILES = (
    "optimized_parallel_strategy.json",
    "deployment_summary.json",
    "verification_results.json",
    "deployment_verification_summary.md",
    "deployment_dag.json",
    "deployment_dag.dot",
)


def deployment_files(instance: Instance, plan: Plan, facts: Facts) -> dict[str, str]:
    """File name -> text, the same bytes for the same arguments.

    A plan that breaks rules is exported with them; raises ValueError for one that cannot be laid out.
    """
    misfit = find_misfit(instance, plan)
    if misfit is not None:
        raise ValueError(f"{plan.strategy.label()} cannot be exported: {misfit}")
    evaluation = evaluate(instance, plan)
    broken = find_violations(instance, plan, evaluation)
    dag = deployment_dag(instance, plan)
    checks = list(check_export(instance, plan, dag, evaluation))
    end = conclude(evaluation.value, sorted({v.rule for v in broken}), facts)
    documents = Documents(
        strategy=describe_plan(instance, plan),
        summary=summarize(instance, plan, evaluation, facts),
        verification=report_verification(instance, broken, checks, end, facts),
        dag=dag,
        conclusion=end,
    )
    texts = (
        _write_json(documents.strategy),
        _write_json(documents.summary),
        _write_json(documents.verification),
        render_report(instance, plan, facts, documents, FILES),
        _write_json(dag),
        to_dot(dag),
    )
    return dict(zip(FILES, texts, strict=True))


def _write_json(content: dict[str, Any]) -> str:
    """Sorted keys; one line per key or list item at the top two levels, compact below."""
    lines = []
    for key, value in sorted(content.items()):
        name = json.dumps(key)
        if isinstance(value, list) and value:
            lines.append(f"{name}: [\n" + ",\n".join(f"  {_compact(item)}" for item in value) + "\n ]")
        elif isinstance(value, dict) and value:
            lines.append(f"{name}: {{\n" + ",\n".join(f"  {json.dumps(k)}: {_compact(v)}" for k, v in sorted(value.items())) + "\n }")
        else:
            lines.append(f"{name}: {_compact(value)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
