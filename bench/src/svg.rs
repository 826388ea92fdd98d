//! A curve as SVG, drawn by hand: two axes, a line for each series, no library.
use std::fmt::Write;

/// One line of a chart.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Both axes are logarithmic: a tenfold growth goes one step, and a flat price is a flat line.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) across: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) series: Vec<Series>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top, bottom of the plot.
const PLOT: (f64, f64, f64, f64) = (64.0, 500.0, 40.0, 310.0);
/// The series are distinct without colour vision, on light and on dark.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

impl Chart {
    /// The picture, or nothing where there are no points above zero.
    pub(crate) fn draw(&self) -> String {
        let points =
            || self.series.iter().flat_map(|s| &s.points).filter(|(x, y)| *x > 0.0 && *y > 0.0);
        let x = Axis::over(points().map(|p| p.0), (PLOT.0, PLOT.1));
        let y = Axis::over(points().map(|p| p.1), (PLOT.3, PLOT.2));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{}\" y=\"22\" font-size=\"14\">{}</text>\n",
            PLOT.0, self.title
        );
        for (value, at) in x.ticks() {
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {} V{}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
                PLOT.2,
                PLOT.3,
                PLOT.3 + 18.0
            );
        }
        for (value, at) in y.ticks() {
            let _ = writeln!(
                svg,
                "<path d=\"M{} {at:.1} H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                PLOT.0,
                PLOT.1,
                PLOT.0 - 8.0,
                at + 4.0
            );
        }
        let middle = f64::midpoint(PLOT.0, PLOT.1);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n<text x=\"8\" y=\"{}\">{}</text>",
            HEIGHT - 10.0,
            self.across,
            PLOT.2 - 4.0,
            self.unit
        );
        for (n, series) in self.series.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let drawn = series.points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
            let line: Vec<String> =
                drawn.map(|p| format!("{:.1},{:.1}", x.place(p.0), y.place(p.1))).collect();
            let key = PLOT.2 + 16.0 + n as f64 * 20.0;
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
                 <text x=\"{}\" y=\"{key}\" fill=\"{colour}\">{}</text>",
                line.join(" "),
                PLOT.1 + 10.0,
                series.name
            );
        }
        svg + "</svg>\n"
    }
}

/// From powers of ten to places.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, (from, to): (f64, f64)) -> Self {
        let ends =
            values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v.log10()), h.max(v.log10())));
        let (low, high) =
            if ends.0 > ends.1 { (0.0, 1.0) } else { (ends.0.floor(), ends.1.ceil()) };
        Self { low, high: high.max(low + 1.0), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Each power of ten with its place.
    fn ticks(&self) -> Vec<(String, f64)> {
        let steps = 0..=(self.high - self.low) as u32;
        let value = |n: u32| 10_f64.powf(self.low + f64::from(n));
        steps
            .map(|n| (format!("{}", (value(n) * 1e6).round() / 1e6), self.place(value(n))))
            .collect()
    }
}
