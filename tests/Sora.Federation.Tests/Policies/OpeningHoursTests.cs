using Sora.Federation.Policies;

namespace Sora.Federation.Tests.Policies;

public sealed class OpeningHoursTests
{
    [Theory]
    [InlineData("Mon-Fri 20:00-06:00", "Mon 20:00", true)]
    [InlineData("Mon-Fri 20:00-06:00", "Mon 19:59", false)]
    [InlineData("Mon-Fri 20:00-06:00", "Tue 05:59", true)]
    [InlineData("Mon-Fri 20:00-06:00", "Tue 06:00", false)]
    [InlineData("Mon-Fri 20:00-06:00", "Mon 03:00", false)] // Sunday's evening is not open
    [InlineData("Mon-Fri 20:00-06:00", "Sat 03:00", true)]  // Friday's is
    [InlineData("Sat,Sun 00:00-24:00", "Sun 23:59", true)]
    [InlineData("Sat,Sun 00:00-24:00", "Mon 00:00", false)]
    [InlineData("Fri-Mon 10:00-11:00", "Sun 10:30", true)]
    [InlineData("Fri-Mon 10:00-11:00", "Wed 10:30", false)]
    [InlineData("daily 22:00-00:00", "Wed 23:00", true)]
    [InlineData("daily 22:00-00:00", "Wed 00:00", false)]
    [InlineData("wed 9:00-17:30", "Wed 17:29", true)]
    public void A_window_is_open_when_it_says(string window, string moment, bool isOpen)
    {
        var (day, time) = (Enum.GetValues<DayOfWeek>().Single(day => day.ToString().StartsWith(moment[..3], StringComparison.Ordinal)), TimeSpan.Parse(moment[4..]));

        Assert.Equal(isOpen, OpeningWindow.Parse(window)!.Contains(day, time));
    }

    [Theory]
    [InlineData("")]
    [InlineData("Mon")]
    [InlineData("Mon 10:00")]
    [InlineData("Moon 10:00-11:00")]
    [InlineData("Mon-Tue-Wed 10:00-11:00")]
    [InlineData("Mon 10:60-11:00")]
    [InlineData("Mon 10:00-24:30")]
    [InlineData("Mon 25:00-26:00")]
    [InlineData("Mon 10:00-10:00")]
    [InlineData("Mon 10:00-11:00 and more")]
    public void Anything_else_is_no_window(string text) => Assert.Null(OpeningWindow.Parse(text));

    [Fact]
    public void The_clock_is_that_of_the_place()
    {
        var hours = new OpeningHours(TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin"), [OpeningWindow.Parse("Mon 20:00-21:00")!]);

        Assert.True(hours.IsOpen(new DateTimeOffset(2026, 7, 6, 18, 30, 0, TimeSpan.Zero)));   // summer: UTC+2
        Assert.False(hours.IsOpen(new DateTimeOffset(2026, 1, 5, 18, 30, 0, TimeSpan.Zero)));  // winter: UTC+1
        Assert.True(hours.IsOpen(new DateTimeOffset(2026, 1, 5, 19, 30, 0, TimeSpan.Zero)));
        Assert.Equal("Mon 20:30 in Europe/Berlin", hours.Clock(new DateTimeOffset(2026, 1, 5, 19, 30, 0, TimeSpan.Zero)));
    }
}
