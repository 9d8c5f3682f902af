"""A shop by Starlette (ASGI). Nothing here knows of metrics: opentelemetry-instrument measures it.

  pip install -r requirements.txt
  export OTEL_SERVICE_NAME=shop
  opentelemetry-instrument uvicorn app:app --port 8001
"""

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def item(request):
    number = int(request.path_params["number"])
    if number == 13:
        return JSONResponse({"error": "the shelf fell"}, status_code=500)
    return JSONResponse({"item": number})


async def cart(request):
    return JSONResponse({"items": []})


app = Starlette(routes=[Route("/item/{number:int}", item), Route("/cart", cart, methods=["GET", "POST"])])
