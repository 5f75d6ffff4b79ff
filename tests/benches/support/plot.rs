//! Draws latencies over load.

use std::path::Path;

use plotters::prelude::*;

/// One line of the picture.
#[derive(Clone)]
pub struct Line {
    pub name: String,
    /// Percent of the highest rate, and milliseconds.
    pub points: Vec<(f64, f64)>,
}

/// Draws lines into an SVG file, over a logarithmic scale of milliseconds.
pub fn draw(file: &Path, lines: &[Line]) {
    let values = lines.iter().flat_map(|line| &line.points).map(|(_, ms)| *ms);
    let (least, most) =
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), ms| (least.min(ms), most.max(ms)));
    let root = SVGBackend::new(file, (720, 420)).into_drawing_area();
    root.fill(&WHITE).expect("a picture");
    let mut chart = ChartBuilder::on(&root)
        .caption("Time of a verification over HTTP", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(20.0..95.0, (least * 0.7..most * 1.5).log_scale())
        .expect("axes");
    chart
        .configure_mesh()
        .x_desc("load, in percent of the highest rate")
        .y_desc("milliseconds")
        .x_label_formatter(&|share| format!("{share:.0}"))
        .y_label_formatter(&|ms| format!("{ms}"))
        .light_line_style(BLACK.mix(0.05))
        .draw()
        .expect("axes");
    let colours =
        [RGBColor(31, 119, 180), RGBColor(31, 119, 180), RGBColor(214, 90, 30), RGBColor(214, 90, 30)];
    for ((line, colour), width) in lines.iter().zip(colours).zip([1, 3].into_iter().cycle()) {
        let style = colour.stroke_width(width);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(4))
            .expect("a line")
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .legend_area_size(36)
        .draw()
        .expect("a legend");
    root.present().expect("a writable file");
}
