namespace Sora.Worker.Tests.Sites;

/// <summary>What never comes fails its test instead of holding all of them up.</summary>
internal static class Patience
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    public static CancellationToken Token
    {
        get
        {
            var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(Limit);
            return limit.Token;
        }
    }
}
