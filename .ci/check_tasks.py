"""Refuses tasks that nobody supervises: `make lint` runs it over src/retrieval.

What runs in the background is started by `TaskSupervisor`, which logs and restarts it. A task that the code around it
awaits says so in a comment on the line of the call, `# awaited: by whom`. Tasks of a TaskGroup are awaited by it.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

SUPERVISOR = Path("application/task_supervisor.py")
MAKERS = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
MARK = "# awaited:"


def unsupervised(path: Path) -> list[int]:
    """Lines of the file that make a task without saying who awaits it."""
    source = path.read_text(encoding="utf-8")
    lines, tree = source.splitlines(), ast.parse(source)
    groups = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and "TaskGroup" in ast.unparse(item.context_expr)
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        grouped = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in groups
        if name in MAKERS and not grouped and MARK not in lines[node.lineno - 1]:
            found.append(node.lineno)
    return found


def main(root: Path) -> int:
    """The exit code: 1 where there is such a task."""
    wrong = [
        f"{path}:{line}: start it by TaskSupervisor, or say who awaits it: {MARK} ..."
        for path in sorted(root.rglob("*.py"))
        if path.relative_to(root) != SUPERVISOR
        for line in unsupervised(path)
    ]
    sys.stdout.write("\n".join(wrong or ["Every background task has its supervisor."]) + "\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
