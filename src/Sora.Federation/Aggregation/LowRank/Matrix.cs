namespace Sora.Federation.Aggregation.LowRank;

/// <summary>A dense matrix in double precision with the two factorisations that <see cref="LoraAggregation"/> needs. Stored by columns, which both work on.</summary>
internal sealed class Matrix(int rows, int columns)
{
    private const int MaxSweeps = 60;
    private readonly double[][] _columns = [.. Enumerable.Range(0, columns).Select(_ => new double[rows])];

    public int Rows => rows;

    public int Columns => columns;

    public double this[int row, int column]
    {
        get => _columns[column][row];
        set => _columns[column][row] = value;
    }

    /// <summary>From single precision, row-major.</summary>
    public static Matrix From(ReadOnlySpan<float> values, int rows, int columns)
    {
        var matrix = new Matrix(rows, columns);
        for (var row = 0; row < rows; row++)
            for (var column = 0; column < columns; column++)
                matrix[row, column] = values[row * columns + column];
        return matrix;
    }

    public Matrix Transposed()
    {
        var transposed = new Matrix(Columns, Rows);
        for (var column = 0; column < Columns; column++)
            for (var row = 0; row < Rows; row++)
                transposed[column, row] = this[row, column];
        return transposed;
    }

    public Matrix Times(Matrix other)
    {
        var product = new Matrix(Rows, other.Columns);
        for (var column = 0; column < other.Columns; column++)
            for (var k = 0; k < Columns; k++)
                AddScaled(product._columns[column], _columns[k], other[k, column]);
        return product;
    }

    /// <summary>
    /// Q with min(rows, columns) orthonormal columns and R with Q R = this, by Householder reflections: unlike Gram-Schmidt they
    /// keep Q orthonormal for factors that lack full rank, such as the B of zeros that every adapter begins with.
    /// </summary>
    public (Matrix Q, Matrix R) ThinQr()
    {
        var count = Math.Min(Rows, Columns);
        var work = Copy();
        var reflectors = new double[count][];
        for (var k = 0; k < count; k++)
        {
            var reflector = reflectors[k] = ReflectorOf(work._columns[k], k);
            for (var column = k; column < Columns; column++)
                Reflect(work._columns[column], reflector);
        }
        var (q, r) = (new Matrix(Rows, count), new Matrix(count, Columns));
        for (var column = 0; column < Columns; column++)
            for (var row = 0; row < Math.Min(count, column + 1); row++)
                r[row, column] = work[row, column];
        for (var column = 0; column < count; column++)
        {
            q[column, column] = 1;
            for (var k = count - 1; k >= 0; k--)
                Reflect(q._columns[column], reflectors[k]);
        }
        return (q, r);
    }

    /// <summary>
    /// U, singular values from large to small, V with U diag V' = this and min(rows, columns) values, by one-sided Jacobi rotations
    /// (Hestenes): pairs of columns are turned until all are orthogonal; their lengths are the singular values. Small singular values
    /// come out with high relative accuracy. For a value of zero, U's column is zero.
    /// </summary>
    public (Matrix U, double[] Singular, Matrix V) Svd()
    {
        if (Rows < Columns)
        {
            var (left, values, right) = Transposed().Svd();
            return (right, values, left);
        }
        var work = Copy();
        var turned = new Matrix(Columns, Columns);
        for (var i = 0; i < Columns; i++)
            turned[i, i] = 1;
        for (var sweep = 0; sweep < MaxSweeps && work.Sweep(turned); sweep++) { }
        var lengths = work._columns.Select(column => Math.Sqrt(Dot(column, column))).ToArray();
        var order = Enumerable.Range(0, Columns).OrderByDescending(column => lengths[column]).ThenBy(column => column).ToArray();
        var (u, v) = (new Matrix(Rows, Columns), new Matrix(Columns, Columns));
        for (var i = 0; i < Columns; i++)
        {
            if (lengths[order[i]] > 0)
                AddScaled(u._columns[i], work._columns[order[i]], 1 / lengths[order[i]]);
            AddScaled(v._columns[i], turned._columns[order[i]], 1);
        }
        return (u, [.. order.Select(column => lengths[column])], v);
    }

    /// <summary>Makes every pair of columns orthogonal once; false when all were already.</summary>
    private bool Sweep(Matrix turned)
    {
        var rotated = false;
        // What rounding leaves of a dot product grows with its length; below that there is nothing to turn.
        var tolerance = Math.Max(8, Rows) * 1.2e-16;
        for (var p = 0; p < Columns - 1; p++)
            for (var q = p + 1; q < Columns; q++)
            {
                var (alpha, beta, gamma) = (Dot(_columns[p], _columns[p]), Dot(_columns[q], _columns[q]), Dot(_columns[p], _columns[q]));
                if (Math.Abs(gamma) <= tolerance * Math.Sqrt(alpha * beta) || gamma == 0)
                    continue;
                rotated = true;
                var zeta = (beta - alpha) / (2 * gamma);
                // The smaller of the two rotation angles, which makes the sweeps converge.
                var tangent = (zeta >= 0 ? 1 : -1) / (Math.Abs(zeta) + Math.Sqrt(1 + zeta * zeta));
                var cosine = 1 / Math.Sqrt(1 + tangent * tangent);
                Rotate(_columns[p], _columns[q], cosine, cosine * tangent);
                Rotate(turned._columns[p], turned._columns[q], cosine, cosine * tangent);
            }
        return rotated;
    }

    private Matrix Copy()
    {
        var copy = new Matrix(Rows, Columns);
        for (var column = 0; column < Columns; column++)
            _columns[column].CopyTo(copy._columns[column], 0);
        return copy;
    }

    /// <summary>The unit vector whose reflection clears a column below <paramref name="k"/>; all zeros when there is nothing to clear.</summary>
    private static double[] ReflectorOf(double[] column, int k)
    {
        var reflector = new double[column.Length];
        column.AsSpan(k).CopyTo(reflector.AsSpan(k));
        var norm = Math.Sqrt(Dot(reflector, reflector));
        if (norm == 0)
            return reflector;
        // Away from zero, so that nothing cancels.
        reflector[k] += reflector[k] >= 0 ? norm : -norm;
        var length = Math.Sqrt(Dot(reflector, reflector));
        for (var i = k; i < reflector.Length; i++)
            reflector[i] /= length;
        return reflector;
    }

    private static void Reflect(double[] column, double[] reflector) => AddScaled(column, reflector, -2 * Dot(reflector, column));

    private static void Rotate(double[] p, double[] q, double cosine, double sine)
    {
        for (var i = 0; i < p.Length; i++)
            (p[i], q[i]) = (cosine * p[i] - sine * q[i], sine * p[i] + cosine * q[i]);
    }

    private static void AddScaled(double[] target, double[] source, double factor)
    {
        for (var i = 0; i < target.Length; i++)
            target[i] += factor * source[i];
    }

    private static double Dot(double[] a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }
}
