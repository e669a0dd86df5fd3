using OxyPlot;
using OxyPlot.Annotations;
using OxyPlot.Axes;
using OxyPlot.Legends;
using OxyPlot.Series;
using Sora.Protocol.Runs;

namespace Sora.Cli.Display;

/// <summary>The loss curve as an SVG picture: the raw line always visible under the smoothed one, evaluations as dots.</summary>
internal static class LossCurve
{
    /// <summary>Draws a curve into a file.</summary>
    public static void Draw(string title, IReadOnlyList<StepCommitted> steps, IReadOnlyList<Evaluated> evaluations, string path)
    {
        var plot = new PlotModel { Title = title, Background = OxyColors.White, PlotAreaBorderColor = OxyColors.Gray };
        plot.Legends.Add(new Legend { LegendPosition = LegendPosition.RightTop, LegendPadding = 12, LegendItemSpacing = 24 });
        plot.Axes.Add(new LinearAxis { Position = AxisPosition.Bottom, Title = "step", MajorGridlineStyle = LineStyle.Solid, MajorGridlineColor = OxyColors.LightGray });
        plot.Axes.Add(new LinearAxis { Position = AxisPosition.Left, Title = "loss (nats per token)", MajorGridlineStyle = LineStyle.Solid, MajorGridlineColor = OxyColors.LightGray });

        var raw = new LineSeries { Title = "training", Color = OxyColor.FromRgb(0xB8, 0xC9, 0xE8), StrokeThickness = 1 };
        var smooth = new LineSeries { Title = "smoothed", Color = OxyColor.FromRgb(0x1F, 0x5F, 0xBF), StrokeThickness = 2 };
        var average = new SmoothedLoss();
        foreach (var step in steps)
        {
            // A NaN breaks the raw line and gets a mark of its own: a curve that closes over it would lie.
            raw.Points.Add(new DataPoint(step.Step, double.IsFinite(step.Loss) ? step.Loss : double.NaN));
            smooth.Points.Add(new DataPoint(step.Step, average.Add(step.Loss)));
            if (!double.IsFinite(step.Loss))
                plot.Annotations.Add(new LineAnnotation { Type = LineAnnotationType.Vertical, X = step.Step, Color = OxyColors.Red, Text = Format.Loss(step.Loss) });
        }
        var held = new ScatterSeries { Title = "held out", MarkerType = MarkerType.Circle, MarkerSize = 4, MarkerFill = OxyColor.FromRgb(0xD9, 0x5F, 0x02) };
        held.Points.AddRange(evaluations.Where(evaluation => double.IsFinite(evaluation.EvalLoss)).Select(evaluation => new ScatterPoint(evaluation.Step, evaluation.EvalLoss)));
        plot.Series.Add(raw);
        plot.Series.Add(smooth);
        if (held.Points.Count > 0) plot.Series.Add(held);

        using var picture = new MemoryStream(); // the exporter, too, fails when a disk is full, but says nothing of the disk
        // Not every viewer knows dominant-baseline; the workaround places text by its own metrics.
        new SvgExporter { Width = 900, Height = 500, UseVerticalTextAlignmentWorkaround = true }.Export(plot, picture);
        File.WriteAllBytes(path, picture.ToArray());
    }
}
