using System.Text.Json;

namespace Sora.Federation.Audit;

/// <summary>One entry of a log.</summary>
/// <param name="Sequence">Its number, from 1.</param>
/// <param name="Time">When it was written, by the writer's clock.</param>
/// <param name="Previous">Hash of the entry before; zeros for the first.</param>
/// <param name="Kind">What it records.</param>
/// <param name="Fields">Its fields as JSON.</param>
/// <param name="Event">The fields as what they mean; null for a kind this program does not know.</param>
/// <param name="Hash">Its own hash.</param>
public sealed record AuditEntry(long Sequence, DateTimeOffset Time, string Previous, string Kind, JsonElement Fields, AuditEvent? Event, string Hash);
