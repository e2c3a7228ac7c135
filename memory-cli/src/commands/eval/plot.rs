//! The figures as bars.

use std::path::Path;

use memquill::{Error, Result};
use plotters::prelude::*;

use super::Row;

/// What [`Figures::percent`](super::Figures::percent) gives, in its order.
const MEASURES: [&str; 5] = ["recall@1", "recall@5", "recall@10", "MRR@10", "nDCG@10"];

/// Colours that are told apart by the colour-blind, too (Okabe and Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(120, 120, 120),
];

/// Draws a group of bars for each measure, a bar for each row.
pub(super) fn draw(file: &Path, rows: &[Row]) -> Result<()> {
    drawn(file, rows).map_err(|error| {
        Error::invalid_input(format!("cannot draw to {}: {error}", file.display()))
            .with_hint("check the path")
    })
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn drawn(file: &Path, rows: &[Row]) -> Drawn {
    let area = SVGBackend::new(file, (960, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let width = 0.8 / count(rows.len());
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..count(MEASURES.len()), 0.0..100.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(0)
        .y_desc("percent")
        .draw()?;
    for (number, row) in rows.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let bars = row.figures.percent().into_iter().enumerate().map(|(measure, percent)| {
            let left = count(measure) + 0.1 + width * count(number);
            Rectangle::new([(left, 0.0), (left + width * 0.9, percent)], colour.filled())
        });
        chart
            .draw_series(bars)?
            .label(format!("{}, {}", row.embedder, row.mode))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    let style = TextStyle::from(("sans-serif", 15)).color(&BLACK);
    for (at, name) in MEASURES.iter().enumerate() {
        let place = chart.backend_coord(&(count(at) + 0.1, 0.0));
        area.draw(&Text::new(*name, (place.0, place.1 + 8), style.clone()))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn count(number: usize) -> f64 {
    number as f64
}
