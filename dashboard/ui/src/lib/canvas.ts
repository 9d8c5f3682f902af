/** Drawing helpers shared by every canvas. */

/** Sizes a canvas for the screen's pixels and returns its context, in CSS pixels. */
export function prepare(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
): CanvasRenderingContext2D | null {
  const ratio = Math.max(1, window.devicePixelRatio || 1);
  const w = Math.round(width * ratio);
  const h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const g = canvas.getContext("2d");
  g?.setTransform(ratio, 0, 0, ratio, 0, 0);
  g?.clearRect(0, 0, width, height);
  return g;
}

/** Fills a rectangle with the hatch that means missing. Lines line up across neighbouring rectangles. */
export function hatch(
  g: CanvasRenderingContext2D,
  color: string,
  x: number,
  y: number,
  w: number,
  h: number,
  step = 8,
  line = 1.25,
): void {
  if (w <= 0 || h <= 0) return;
  g.save();
  g.beginPath();
  g.rect(x, y, w, h);
  g.clip();
  g.strokeStyle = color;
  g.lineWidth = line;
  g.beginPath();
  const first = Math.floor((x + y) / step) * step;
  for (let d = first; d < x + w + y + h + step; d += step) {
    g.moveTo(d - y, y);
    g.lineTo(d - y - h, y + h);
  }
  g.stroke();
  g.restore();
}

/** The page's font at a size, for canvas text. */
export function font(size: number, weight = 400): string {
  return `${weight} ${size}px "Inter Variable", Inter, system-ui, sans-serif`;
}

let measuring: CanvasRenderingContext2D | null = null;

/** Width of a text in the page's font, pixels. */
export function textWidth(s: string, size: number): number {
  measuring ??= document.createElement("canvas").getContext("2d");
  if (measuring === null) return (s.length * size) / 2;
  measuring.font = font(size);
  return measuring.measureText(s).width;
}
