using System.Text;

namespace Sora.Model.Tests.Tokenization;

/// <summary>English, Chinese and C#, the same every time: sentences from word lists, put together by a fixed generator.</summary>
internal static class MixedText
{
    private static readonly string[] English =
    [
        "the", "model", "of", "training", "don't", "we'll", "HTTP", "gradient", "is", "an", "optimizer", "it's", "Represents", "which", "tokenization",
        "distributed", "camelCase", "they've", "reduce-scatter", "e.g.", "naïve", "café", "Zürich", "\"quoted\"", "(see below)", "3.14159", "2026", "100,000",
    ];

    private static readonly string[] Chinese =
    [
        "训练", "模型", "数据", "我们", "的", "在", "分布式", "系统", "中", "可以", "使用", "梯度", "每一个", "节点", "都", "需要", "同步", "參數", "龍", "人工智能",
        "银行", "医院", "学校", "不会", "离开", "本地", "第3轮", "１２３", "GPU上", "《红楼梦》",
    ];

    private static readonly string[] Code =
    [
        "public static int Main(string[] args)", "    var x = list[i] + 0x1F;", "\t\treturn await _client.GetAsync(url, cancellationToken).ConfigureAwait(false);",
        "for (int i = 0; i < n; i++)", "{", "}", "// TODO(HTTPServer): fix   spacing", "if (a != null && b?.Length >= 10)", "", "    ", "string s = $\"{name}\\n\";",
        "#include <stdio.h>", "x => x * x", "SELECT * FROM users WHERE id = 42;", "https://example.org/a/b?c=d&e=f#g", "/* ===================== */",
    ];

    public static string Create(int characters)
    {
        var random = new XorShift(2026);
        var text = new StringBuilder(characters + 200);
        while (text.Length < characters)
        {
            switch (random.Below(3))
            {
                case 0:
                    for (var i = random.Below(20); i >= 0; i--)
                        text.Append(English[random.Below(English.Length)]).Append(i == 0 ? ". " : random.Below(8) == 0 ? ", " : " ");
                    text.Append(random.Below(4) == 0 ? "\r\n" : "");
                    break;
                case 1:
                    for (var i = random.Below(20); i >= 0; i--)
                        text.Append(Chinese[random.Below(Chinese.Length)]).Append(random.Below(6) == 0 ? "，" : "");
                    text.Append("。").Append(random.Below(3) == 0 ? "\n\n" : "");
                    break;
                default:
                    for (var i = random.Below(6); i >= 0; i--)
                        text.Append(Code[random.Below(Code.Length)]).Append('\n');
                    break;
            }
        }
        return text.ToString();
    }

    /// <summary>Marsaglia 2003: the sequence of System.Random may change between versions.</summary>
    private struct XorShift(uint state)
    {
        private uint _state = state;

        public int Below(int bound)
        {
            _state ^= _state << 13;
            _state ^= _state >> 17;
            _state ^= _state << 5;
            return (int)(_state % (uint)bound);
        }
    }
}
