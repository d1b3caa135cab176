"""The orders as JSON, and what the stack asks."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from orders.models import Order


def healthz(_: HttpRequest) -> JsonResponse:
    """Tell that the process answers."""
    return JsonResponse({"status": "healthy"})


def readyz(_: HttpRequest) -> JsonResponse:
    """Check the database and its migrations."""
    try:
        executor = MigrationExecutor(connection)
        lacking = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return JsonResponse({"status": "no database"}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    if lacking:
        return JsonResponse({"status": "not migrated"}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return JsonResponse({"status": "ready"})


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def orders(request: HttpRequest) -> JsonResponse:
    """List the latest orders, or place one."""
    if request.method == "POST":
        placed = Order.objects.create(item=request.body.decode(errors="replace")[:200])
        return JsonResponse(as_json(placed), status=HTTPStatus.CREATED)
    return JsonResponse([as_json(order) for order in Order.objects.order_by("-id")[:100]], safe=False)


def as_json(order: Order) -> dict[str, Any]:
    return {"id": order.pk, "item": order.item, "confirmed": order.confirmed is not None}
