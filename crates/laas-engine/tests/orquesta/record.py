"""Records what Orquesta makes of `cases.yaml`: `python record.py < cases.yaml > recorded.json` where it is installed."""

import json
import logging
import sys

import yaml
from orquesta import conducting, events, statuses
from orquesta import requests as requests_of
from orquesta.specs import native

logging.disable(logging.CRITICAL)


def rerun_items(case, task):
    """StackStorm's record of a task's items outlives a re-run."""
    return task["id"] in case.get("rerun", {}).get("tasks", [])


def run(case):
    spec = native.WorkflowSpec(case["workflow"])
    if spec.inspect(app_ctx={"st2": {}, "parent": {}}):
        return {"refused": True}
    context = {"st2": {"user": "me"}, "parent": {}}
    conductor = conducting.WorkflowConductor(spec, context=context, inputs=case.get("inputs", {}))
    outcomes = {key: list(value) for key, value in case.get("outcomes", {}).items()}
    requests, pending, items = [], [], {}
    conductor.workflow_state
    if conductor.get_workflow_status() not in statuses.COMPLETED_STATUSES:
        conductor.request_workflow_status(statuses.REQUESTED)

    def start():
        if conductor.get_workflow_status() == statuses.REQUESTED:
            conductor.request_workflow_status(statuses.RUNNING)
        while True:
            tasks = conductor.get_next_tasks()
            if not tasks:
                return
            for task in tasks:
                itemized = task["spec"].has_items()
                entry = conductor.get_task_state_entry(task["id"], task["route"])
                again = entry and (entry.get("status") in (statuses.RUNNING, statuses.PAUSED) or rerun_items(case, task))
                if itemized and not again:
                    items[(task["id"], task["route"])] = [None] * task["items_count"]
                if itemized and task["items_count"] == 0:
                    running = events.ActionExecutionEvent(statuses.RUNNING)
                    conductor.update_task_state(task["id"], task["route"], running)
                for action in task["actions"]:
                    if action.get("item_id") is None:
                        event = events.ActionExecutionEvent(statuses.RUNNING)
                    else:
                        event = events.TaskItemActionExecutionEvent(action["item_id"], statuses.RUNNING)
                    conductor.update_task_state(task["id"], task["route"], event)
            for task in tasks:
                itemized = task["spec"].has_items()
                if task["spec"].action is None or (itemized and task["items_count"] == 0):
                    done = events.ActionExecutionEvent(statuses.SUCCEEDED)
                    conductor.update_task_state(task["id"], task["route"], done)
                    continue
                place = (task["id"], task["route"])
                for action in task["actions"]:
                    item = action.get("item_id")
                    pending.append(place + (item,))
                    requests.append({
                        "task": task["id"], "route": task["route"], "item": item, "action": action["action"],
                        "input": action["input"] or {}, "delay": task.get("delay") or 0,
                    })

    start()
    done, steer, rerun = 0, case.get("steer"), case.get("rerun")
    while True:
        if steer and done == steer["after"]:
            conductor.request_workflow_status(steer["ask"])
            steer = None
        if not pending and conductor.get_workflow_status() == statuses.PAUSED:
            conductor.request_workflow_status(statuses.RESUMING)
            start()
        if not pending and rerun and conductor.get_workflow_status() in statuses.COMPLETED_STATUSES:
            conductor.request_workflow_rerun([
                requests_of.TaskRerunRequest.new(t, entry["route"], reset_items=t in rerun.get("reset", []))
                for t in rerun["tasks"]
                for _, entry in conductor.workflow_state.get_tasks(task_id=t)
            ])
            rerun = None
            start()
        if not pending:
            break
        done += 1
        task, route, item = pending.pop(-1 if case.get("order") == "last" else 0)
        key = task if item is None else "%s#%d" % (task, item)
        scripted = outcomes.get(key)
        outcome = scripted.pop(0) if scripted else {"status": "succeeded", "result": {"of": task}}
        status, result = outcome["status"], outcome.get("result")
        if item is None:
            event = events.ActionExecutionEvent(status, result=result)
        else:
            items[(task, route)][item] = result
            event = events.TaskItemActionExecutionEvent(
                item, status, result=result, accumulated_result=list(items[(task, route)])
            )
        conductor.update_task_state(task, route, event)
        if conductor.get_workflow_status() in statuses.COMPLETED_STATUSES:
            conductor.render_workflow_output()
        start()
    conductor.render_workflow_output()
    return {
        "requests": requests,
        "status": conductor.get_workflow_status(),
        "output": conductor.get_workflow_output(),
        "errors": conductor.errors,
    }


cases = yaml.safe_load(sys.stdin)
recorded = {}
for case in cases:
    recorded[case["name"]] = run(case)
json.dump(recorded, sys.stdout, indent=1)
print()
